"""Looking up and becoming another user. What changes the process runs in a child of its own."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.config.model import Global
from headgate.runtime.process.identity import Identity, become, resolve_identity

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")


def test_names_become_numbers() -> None:
    nobody = pwd.getpwnam("nobody")
    assert resolve_identity(Global(user="nobody")) == Identity(uid=nobody.pw_uid)
    assert resolve_identity(Global(uid=5, gid=6)) == Identity(5, 6)
    assert resolve_identity(Global()) == Identity()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Global(user="no-such-user"), "'user no-such-user' in the global section"),
        (Global(group="no-such-group"), "'group no-such-group' in the global section"),
        (Global(chroot="/no/such/directory"), "is not a directory"),
    ],
)
def test_what_does_not_exist_is_an_error(settings: Global, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve_identity(settings)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


_BECOME = "import os; from headgate.runtime.process.identity import Identity, become; "


@needs_root
def test_privileges_are_gone_for_good() -> None:
    said = python(_BECOME + "print(become(Identity(65534, 65534))); print(os.getresuid(), os.getresgid(), os.getgroups())")
    assert said == "[]\n(65534, 65534, 65534) (65534, 65534, 65534) [65534]"


@needs_root
def test_groups_of_root_go_with_a_user_alone() -> None:
    assert python(_BECOME + "os.setgroups([0, 4]); become(Identity(65534)); print(os.getgroups())") == "[]"


@needs_root
def test_the_jail_is_entered_before_privileges_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "inside").touch()
    tmp_path.chmod(0o755)
    # With all modules loaded before: nothing can be imported from inside.
    code = _BECOME + f"become(Identity(65534, 65534, {str(tmp_path)!r})); print(os.listdir('/')); import headgate.plan.facts"
    assert python(code) == "['inside']"


def test_staying_root_is_said() -> None:
    warnings = become(Identity())
    assert bool(warnings) == (os.geteuid() == 0)


def test_the_user_that_we_are_is_no_change() -> None:
    if os.geteuid() != 0:
        assert become(Identity(os.geteuid(), os.getegid())) == []


def test_who_may_not_change_is_refused() -> None:
    drop = "become(Identity(65534, 65534)); " if os.geteuid() == 0 else ""
    code = _BECOME + drop + (
        "from headgate.base.diagnostics import ConfigError\n"
        "try: become(Identity(1, 1))\n"
        "except ConfigError as error: print(error)"
    )
    assert "cannot set gid 1" in python(code)
