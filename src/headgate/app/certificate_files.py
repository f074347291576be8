"""The certificate storage of a configuration: how its files are read, who knows pass phrases, what crt-stores load."""

from __future__ import annotations

from headgate.app.pass_phrases import PassPhraseCommand
from headgate.base.diagnostics import ConfigError, Report
from headgate.config.model import Config
from headgate.tls.loading import CertificateReader, Loading, read_issuers
from headgate.tls.storage import Storage
from headgate.tls.store import skipped


def certificate_storage(config: Config, report: Report) -> Storage:
    """Make it and load the certificates of crt-stores, used or not (manual 12.7).

    Args:
        config: the configuration.
        report: where errors and warnings go.
    """
    settings = config.global_
    loading = Loading(settings.ssl_load_extra_files, settings.ssl_load_extra_del_ext, settings.ssl_skip_bad_certificates)
    command = PassPhraseCommand(settings.ssl_passphrase_cmd) if settings.ssl_passphrase_cmd else None
    issuers = read_issuers(settings.issuers_chain_path, report) if settings.issuers_chain_path is not None else None
    storage = Storage(CertificateReader(loading, command, issuers), ocsp_mode=settings.ocsp_update.mode, report=report)
    for file in config.certificates:
        try:
            storage.certificate(file)
        except ConfigError as error:
            report.add(skipped(error) if loading.skip_bad else error.diagnostic)
    return storage
