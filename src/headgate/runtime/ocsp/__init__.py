"""Fetches OCSP responses and keeps them on disk: the input and output behind the decisions of `tls.ocsp`."""
