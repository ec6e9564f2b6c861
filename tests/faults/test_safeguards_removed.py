"""Can the tests see a failure? Each safeguard is taken out in turn, and its tests must fail."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults.support import choose
from tests.live.conftest import ROOT

PATIENCE = choose(120, 600)  # seconds of one run
REMOVAL = Path(__file__).with_name("removal")
# What a guarding test says when it notices; anything else would be a fault of the removal.
NOTICED = re.compile(r"^E +(assert|AssertionError|Failed: DID NOT RAISE)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Safeguard:
    """One safeguard: how it is taken out, and the tests that notice, the fastest first.

    `changes` are (file, text that stands there once, what stands there instead).
    """

    changes: tuple[tuple[str, str, str], ...]
    guards: tuple[str, ...]


ORDER = "tests/test_storage.py::test_order_of_"
RACES = "tests/live/test_races.py::test_"
SWEEP = "tests/test_sweep.py::test_"
TYPES = "tests/test_files.py::test_headers_of_every_type"
FAILING = "tests/test_storage.py::test_failing_disk_leaves_nothing"
SAFEGUARDS = {
    "fsync of the file": Safeguard(
        changes=(
            ("storage_local_files.py", " " * 16 + "os.fsync(self.fd)\n", " " * 16 + "pass\n"),
        ),
        guards=(f"{ORDER}an_upload", f"{FAILING}[fsync file-5]"),
    ),
    "no write while the host is moved": Safeguard(
        changes=(("writer.py", "                    self.before_work()\n", ""),),
        guards=("tests/test_move.py::test_who_may_write[moving-local-False]",),
    ),
    "fsync of a piece": Safeguard(
        changes=(
            ("storage_local_partial.py", "            os.fsync(self.fd)\n", "            pass\n"),
        ),
        guards=(f"{ORDER}an_upload_in_pieces",),
    ),
    "owner of an upload in pieces": Safeguard(
        changes=(("resumable.py", "            Resumable.user == sender.user_id,\n", ""),),
        guards=("tests/test_tus.py::test_credentials",),
    ),
    "one of two hosts wins": Safeguard(
        changes=(("resumable.py", ", Resumable.offset == upload.offset", ""),),
        guards=("tests/test_tus_s3.py::test_of_two_hosts_at_once_one_wins",),
    ),
    "fsync of the directory": Safeguard(
        changes=(("storage_local.py", "                os.fsync(fd)\n", "                pass\n"),),
        guards=(f"{ORDER}an_upload", f"{ORDER}a_delete", f"{ORDER}an_end_of_an_account"),
    ),
    "fsync before the commit": Safeguard(
        changes=(
            ("writer.py", "                    self.before_commit()\n", ""),
            (
                "writer.py",
                "        except BaseException as error:\n            batch",
                "            self.before_commit()\n"
                "        except BaseException as error:\n            batch",
            ),
        ),
        guards=(f"{ORDER}a_delete", f"{ORDER}an_upload"),
    ),
    "a name counts as unsynced after its removal": Safeguard(
        changes=(
            (
                "storage_local.py",
                "        try:\n            return unlink(name, folder)\n        finally:",
                "        self._touched(folder)\n        try:\n"
                "            return unlink(name, folder)\n        finally:\n"
                "            return True",
            ),
        ),
        guards=("tests/test_storage.py::test_sync_comes_after_what_it_is_for",),
    ),
    "IMMEDIATE transactions": Safeguard(
        changes=(("writer.py", 'database.atomic("IMMEDIATE")', "database.atomic()"),),
        guards=(f"{ORDER}an_upload",),
    ),
    "one writer at a time": Safeguard(
        changes=(
            ("writer.py", "            fcntl.flock(self.file, fcntl.LOCK_EX)", "            pass"),
        ),
        guards=("tests/test_models.py::test_writers_take_turns",),
    ),
    "the savepoint of each piece of work": Safeguard(
        changes=(("writer.py", 'database.execute_sql("rollback to job")', "pass"),),
        guards=("tests/test_writer.py::test_a_failure_undoes_its_own_work_alone",),
    ),
    "the order of unlink and row": Safeguard(
        changes=(
            (
                "items.py",
                "        store.discard_all(place for place in _places(some) if place not in gone)\n"
                "        return work(some)",
                "        result = work(some)\n"
                "        store.discard_all(place for place in _places(some) if place not in gone)\n"
                "        return result",
            ),
        ),
        guards=(f"{ORDER}a_delete",),
    ),
    "undo of a published name": Safeguard(
        changes=(
            (
                "items.py",
                "            for name in published:\n                store.delete(name)\n",
                "",
            ),
        ),
        guards=(f"{FAILING}[fsync uploads-5]",),
    ),
    "the look at the user inside the write": Safeguard(
        changes=(("items.py", "if rights is None or not rights.is_active:", "if rights is None:"),),
        guards=(
            "tests/faults/test_guards.py::test_a_user_banned_while_the_body_arrives",
            f"{RACES}deleting_a_user_against_uploads",
        ),
    ),
    "the owner filter of delete": Safeguard(
        changes=(
            (
                "items.py",
                '        if item.user_id != user.id:\n            raise Forbidden("This file',
                '        if False:\n            raise Forbidden("This file',
            ),
        ),
        guards=("tests/test_nekos_files.py::test_delete_refuses_another_s",),
    ),
    "the owner filter of delete by id": Safeguard(
        changes=(
            (
                "items.py",
                '        if item.user_id != user.id:\n            raise Forbidden("This item',
                '        if False:\n            raise Forbidden("This item',
            ),
        ),
        guards=("tests/test_gallery.py::test_delete",),
    ),
    "the last admin's guard": Safeguard(
        changes=(("accounts.py", "if is_active_admin and not others.exists():", "if False:"),),
        guards=(
            "tests/test_nekos_user.py::test_last_admin_stays",
            "tests/test_cli_people.py::test_the_last_admin_stays",
            f"{RACES}the_last_admin_stays",
        ),
    ),
    "the registration key's conditional update": Safeguard(
        changes=(
            (
                "keys.py",
                "RegistrationKey.key_hash == credentials.hash_key(key), "
                "RegistrationKey.used.is_null()\n        )\n        .execute()",
                "RegistrationKey.key_hash == credentials.hash_key(key)\n        )\n"
                "        .execute()",
            ),
        ),
        guards=(
            "tests/faults/test_guards.py::test_a_registration_key_is_consumed_once",
            f"{RACES}one_registration_key",
        ),
    ),
    "bcrypt's few places": Safeguard(
        changes=(("throttle.py", "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass"),),
        guards=("tests/test_guessing.py::test_whoever_needs_bcrypt_waits_for_a_place",),
    ),
    "the order of who waits for bcrypt": Safeguard(
        changes=(("throttle.py", "None if self._waiting else self._try()", "self._try()"),),
        guards=("tests/faults/test_guards.py::test_who_waits_for_bcrypt_is_not_overtaken",),
    ),
    "guesses counted before they are tried": Safeguard(
        changes=(
            (
                "throttle.py",
                "            self.require_allowed()\n            return",
                "            return",
            ),
        ),
        guards=("tests/faults/test_guards.py::test_a_guess_looks_again_when_it_begins",),
    ),
    "the header map": Safeguard(
        changes=(
            (
                "media.py",
                "    if suffix in TEXT_EXTENSIONS:\n        return TEXT_TYPE\n    return _TYPES",
                '    if suffix == "html":\n        return "text/html"\n    return _TYPES',
            ),
        ),
        guards=(f"{TYPES}[html-GET]", TYPES),
    ),
    "the sandbox of files": Safeguard(
        changes=(("media.py", "\"base-uri 'none'; sandbox\"", "\"base-uri 'none'\""),),
        guards=(f"{TYPES}[svg-GET]", TYPES),
    ),
    "the pattern of served names": Safeguard(
        changes=(
            (
                "storage_local.py",
                "self._read(name, self._root) if NAME_PATTERN.fullmatch(name) else None",
                "self._read(name, self._root)",
            ),
        ),
        guards=(
            "tests/test_files.py::test_never_served[dotfile]",
            "tests/test_files.py::test_never_served",
        ),
    ),
    "served files are no symbolic links": Safeguard(
        changes=(("storage_local.py", "os.O_RDONLY | os.O_NOFOLLOW", "os.O_RDONLY"),),
        guards=("tests/test_files.py::test_never_served[symbolic-link]",),
    ),
    "escaping of tags": Safeguard(
        changes=(("templates/web/item.html", "{{ tag }}", "{{ tag | safe }}"),),
        guards=("tests/test_pages.py::test_everything_is_escaped",),
    ),
    "what follows a picture is left out": Safeguard(
        changes=(
            (
                "segments.py",
                "made.keep(start, start + 2)\n            break",
                "made.keep(start, source.size)\n            break",
            ),
        ),
        guards=("tests/test_metadata.py::test_second_pictures_of_a_phone",),
    ),
    "the number of parts of a picture": Safeguard(
        changes=(("segments.py", "        if self._parts > most:", "        if False:"),),
        guards=(
            "tests/test_metadata.py::test_more_parts_than_any_real_picture_has[jpeg]",
            "tests/test_metadata.py::test_more_parts_than_any_real_picture_has[png]",
        ),
    ),
    "drain of refused bodies": Safeguard(
        changes=(
            (
                "blueprints/receive.py",
                "            intake.drain(stream, rules.max_body_bytes)\n",
                "",
            ),
        ),
        guards=("tests/test_upload_order.py::test_an_early_refusal_reads_the_body",),
    ),
    "the announced length of a body": Safeguard(
        changes=(("intake.py", "            if size < length:", "            if False:"),),
        guards=("tests/faults/test_guards.py::test_a_body_that_lacks_its_last_bytes",),
    ),
    "the end of a body is told to its parser": Safeguard(
        changes=(("intake.py", "            parser.close()  #", "            #"),),
        guards=("tests/test_upload_order.py::test_the_body_before_its_content",),
    ),
    "the sweep spares the files of an empty database": Safeguard(
        changes=(
            (
                "upkeep.py",
                "if (orphans or temporary) and not Item.select(Item.id).limit(1).exists():",
                "if False:",
            ),
        ),
        guards=(f"{SWEEP}a_database_without_items_removes_nothing[orphans]",),
    ),
    "the sweep spares very many files": Safeguard(
        changes=(
            ("upkeep.py", "if orphans > SPARED and orphans > files * SPARED_SHARE:", "if False:"),
        ),
        guards=(f"{SWEEP}very_many_files_are_taken_for_a_mistake[1001]",),
    ),
    "the sweep spares young files": Safeguard(
        changes=(("upkeep.py", "time.time() if young else time.time() - AGE", "time.time()"),),
        guards=(f"{SWEEP}only_what_is_older_than_an_hour[now]",),
    ),
    "the sweep looks again before it removes": Safeguard(
        changes=(
            (
                "upkeep.py",
                "                owned = _owned(where, names)\n                count",
                "                owned = set()\n                count",
            ),
        ),
        guards=(f"{SWEEP}a_file_that_got_its_row_meanwhile_stays",),
    ),
    "the sweep takes names of our pattern alone": Safeguard(
        changes=(
            (
                "storage_local.py",
                "if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):",
                "if entry.is_file(follow_symlinks=False):",
            ),
        ),
        guards=(f"{SWEEP}foreign_names_are_not_touched",),
    ),
    "an expired file is not served": Safeguard(
        changes=(
            (
                "expiry.py",
                "    elif expires is not None and expires <= models.now():\n",
                "    elif False:\n",
            ),
        ),
        guards=("tests/test_expiry.py::test_ends_at_its_time_however_late_the_timer_is",),
    ),
    "pinned files are spared": Safeguard(
        changes=(("quota.py", "Item.pinned.is_null(), ~REJECTED)", "~REJECTED)"),),
        guards=("tests/test_quota.py::test_pinned_files_stay",),
    ),
    "room is made of one's own files": Safeguard(
        changes=(("quota.py", "where(Item.user == user_id, Item.pinned", "where(Item.pinned"),),
        guards=("tests/test_quota.py::test_never_another_s",),
    ),
    "room is made after all else": Safeguard(
        changes=(
            (
                "items.py",
                "        while True:\n",
                "        unlink(store, victims)\n        while True:\n",
            ),
        ),
        guards=("tests/test_quota.py::test_an_upload_that_fails_has_deleted_nothing[publish]",),
    ),
    "content taken down is refused": Safeguard(
        changes=(("items.py", "        if rights.is_refused:\n", "        if False:\n"),),
        guards=("tests/test_takedown.py::test_refused_from_then_on[nekos]",),
    ),
    "the same-origin check": Safeguard(
        changes=(("auth.py", "    if not is_ours:\n", "    if False:\n"),),
        guards=("tests/test_sessions.py::test_posts_of_other_sites_are_refused",),
    ),
}


def run(changes: tuple[tuple[str, str, str], ...], guards: list[str]) -> tuple[int, str]:
    """Run these tests in a process of their own. Returns pytest's exit code and its words."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short"]
    command += ["-p", "no:cacheprovider"]
    # as when nobody has asked for the long mode, which is for the tests of this folder
    environ = {key: value for key, value in os.environ.items() if key not in ("CI", "KISSA_FAULTS")}
    environ |= {"PYTHONPATH": str(REMOVAL), "REMOVED_SAFEGUARD": json.dumps(changes)}
    # installed plugins, which no guard uses, take a third of such a run to load
    environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with tempfile.TemporaryDirectory(prefix="kissa-guard-") as folder:
        # a folder of its own: runs side by side would clear away each other's
        done = subprocess.run(
            [*command, "--basetemp", f"{folder}/pytest", *guards],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    return done.returncode, done.stdout + done.stderr


def test_every_removal_is_noticed() -> None:
    begun = time.monotonic()
    jobs = [
        (name, guard)
        for name, safeguard in SAFEGUARDS.items()
        for guard in choose(safeguard.guards[:1], safeguard.guards)
    ]
    everything = list(dict.fromkeys(guard for _, guard in jobs))
    with ThreadPoolExecutor(2) as pool:
        control = pool.submit(run, (), everything)
        runs = [pool.submit(run, SAFEGUARDS[name].changes, [guard]) for name, guard in jobs]
        results = [future.result() for future in runs]
        code, words = control.result()
    unnoticed = {
        f"{name} by {guard}": (code, words[-2000:])
        for (name, guard), (code, words) in zip(jobs, results, strict=True)
        if code != 1 or not NOTICED.search(words)
    }
    seconds = time.monotonic() - begun
    print(
        f"safeguards removed={len(SAFEGUARDS)} guards={len(jobs)}"
        f" noticed={len(jobs) - len(unnoticed)} seconds={seconds:.0f}"
    )
    assert code == 0, f"the control, with nothing removed, fails:\n{words[-4000:]}"
    assert not unnoticed, "\n".join(
        f"{name}: exit code {code}\n{words}" for name, (code, words) in unnoticed.items()
    )
