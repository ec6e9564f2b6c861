"""Commands about database and files: sweep, check, backup, restore, stats."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import click

import archive
import backup as backups
import check as checks
import cli_opening
import config as configuration
import models
import restore as restores
import stats as figures
import upkeep
from archive import BackupError, Manifest
from cli_opening import size

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_SHOWN = 50  # faults of a backup that are printed one by one


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Remove what was found.")
@click.option("--force", is_flag=True, help="Remove even if the database looks wrong or fresh.")
@click.option("--young", is_flag=True, help="Also files younger than an hour, as the start does.")
@_JSON
def sweep(apply_: bool, force: bool, young: bool, as_json: bool) -> None:
    """Show files without an upload and uploads without a file; remove the former with --apply."""
    with cli_opening.opened() as (_, store):
        with cli_opening.progress_bar("Looking") as progress:
            found = upkeep.look(store, young=young, progress=progress)
        removed = upkeep.remove(store, found, force=force) if apply_ else 0
        if apply_:
            upkeep.tidy(store)
    if as_json:
        orphans = [{"where": where, "name": name} for where, name in found.orphans]
        told = dataclasses.asdict(found) | {"orphans": orphans, "removed": removed}
        cli_opening.print_json(told)
    else:
        for where, name in found.orphans:
            click.echo(f"{where} file without an upload: {name}")
        for name in found.thumbnails:
            click.echo(f"thumbnail without its file: {name}")
        for name in found.temporary:
            click.echo(f"unfinished upload: {name}")
        for name in found.lost:
            click.echo(f"upload without its file: {name}")
        if found.held_back:
            click.echo(f"Held back: {found.held_back} (--force overrides)")
        click.echo(
            f"{found.files} files, {len(found.orphans)} without an upload, "
            f"{len(found.temporary)} unfinished, {len(found.lost)} missing; {removed} removed."
        )
    if apply_ and found.held_back and not force:
        sys.exit(1)


@click.command()
@click.option("--hash", "hashes", is_flag=True, help="Read every file, and compare its SHA-256.")
@click.option(
    "--nginx",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"nginx's file for this host (default: {'/'.join(checks.NGINX)}).",
)
@_JSON
def check(hashes: bool, nginx: Path | None, as_json: bool) -> None:
    """Look for uploads without a file, files without an upload, wrong sizes, bytes and totals,
    and for settings that do not fit nginx's.

    Changes nothing. Status 1 when anything was found.
    """
    with cli_opening.opened() as (config, store):
        with cli_opening.progress_bar("Checking") as progress:
            report = checks.check(store, progress, hashes=hashes)
        for path in [nginx] if nginx else checks.find_nginx():
            report.nginx += checks.nginx_faults(config, path)
    _print_report(report, as_json)
    if report.lines():
        sys.exit(1)


def _print_report(report: checks.Report, as_json: bool) -> None:
    if as_json:
        orphans = [{"where": where, "name": name} for where, name in report.orphans]
        faults = {"orphans": orphans, "fine": not report.lines()}
        cli_opening.print_json(dataclasses.asdict(report) | faults)
        return
    for line in report.lines():
        click.echo(line)
    told = f"{len(report.lines())} faults" if report.lines() else "all fine"
    click.echo(f"{report.items} uploads of {size(report.bytes)}, {report.files} files: {told}.")


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Read and check the backup TARGET; make none.")
@click.option("--force", is_flag=True, help="Make it although many files are missing.")
@_JSON
def backup(target: Path, verify: bool, force: bool, as_json: bool) -> None:
    """Make a backup in the new folder TARGET, while the server runs.

    Files are hard links where TARGET is on the uploads' filesystem: quick and without space, but
    no protection against a dead disk. Elsewhere they are copies, and those that the last backup
    beside TARGET has are not copied again.
    """
    began = time.monotonic()
    if verify:
        with cli_opening.told():
            manifest = _verify(target)
        _print_backup(as_json, "{} is whole: {}", target, manifest)
        return
    # In whatever schema: before an upgrade is when it is needed.
    opened = cli_opening.opened(check_schema=False)
    with opened as (config, store), cli_opening.progress_bar("Backup") as progress:
        made = backups.backup(config, store, target, progress, force=force)
    manifest = made.manifest
    if not as_json:
        for name in manifest.damaged:
            click.echo(f"{name}: not the bytes that were uploaded; see: flask check", err=True)
        for name in made.lost:
            click.echo(f"{name}: an upload without its file; it is not in the backup", err=True)
    figures = {key: getattr(made, key) for key in ("linked", "reused", "copied", "copied_bytes")}
    more = {"deleted": made.deleted, "lost": made.lost, "seconds": time.monotonic() - began}
    _print_backup(as_json, "Backup made in {}: {}", target, manifest, figures | more)
    if not as_json:
        click.echo(
            f"{made.linked} files linked, {made.reused} reused, {made.copied} copied "
            f"({size(made.copied_bytes)}), {made.deleted} deleted meanwhile; "
            f"{more['seconds']:.1f} seconds."
        )


def _verify(folder: Path) -> Manifest:
    with cli_opening.progress_bar("Verifying") as progress:
        try:
            return archive.verify(folder, progress)
        except BackupError as error:
            raise BackupError(_shortened(error.faults)) from error


def _shortened(faults: list[str]) -> list[str]:
    hidden = len(faults) - _SHOWN
    return faults if hidden <= 0 else [*faults[:_SHOWN], f"and {hidden} more"]


def _print_backup(
    as_json: bool, sentence: str, target: Path, manifest: Manifest, more: Any = None
) -> None:
    told = manifest.as_json()
    if as_json:
        kept = {key: told[key] for key in ("version", "time", "counts", "damaged")}
        cli_opening.print_json({"target": str(target)} | kept | (more or {}))
        return
    counts = f"{manifest.users} users, {manifest.count} files of {size(manifest.bytes)}"
    click.echo(sentence.format(target, f"{counts}, as of {manifest.time}."))


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Although there are uploads or accounts.")
def restore(source: Path, force: bool) -> None:
    """Bring back the backup in the folder SOURCE, while no server runs.

    All of it is verified before anything is touched. What is there already is moved aside and
    never deleted. Cut short, it is undone or finished by the next start or command.
    """
    with cli_opening.told():
        config = configuration.load()
        cli_opening.require_owner(config.database.path)
        with cli_opening.progress_bar("Restoring") as progress:
            try:
                done = restores.restore(config, source, progress, force=force)
            except BackupError as error:
                raise BackupError(_shortened(error.faults)) from error
    for note in done.notes:
        click.echo(note, err=True)
    _print_backup(False, "{} is restored: {}", source, done.manifest)
    click.echo(f"{done.linked} files linked, {done.copied} copied.")
    if done.aside:
        click.echo(f"What was there before is kept, under names that end in {done.aside}")
    with cli_opening.opened(check_schema=False) as (_, store):
        if models.pending_migrations():
            click.echo("The backup is of an older Kissa; now run: flask migrate")
            return
        with cli_opening.progress_bar("Checking") as progress:
            report = checks.check(store, progress)
    _print_report(report, False)
    if report.lines():
        sys.exit(1)


@click.command()
@_JSON
def stats(as_json: bool) -> None:
    """Show how many users, uploads and bytes there are, and how much room is left."""
    with cli_opening.opened() as (config, store):
        found = figures.collect(config, store)
    if as_json:
        cli_opening.print_json(found)
        return
    newest = cli_opening.moment(found.newest_upload) if found.newest_upload else "none"
    items = ", ".join(f"{count} {state}" for state, count in found.items.items())
    for name, value in (
        ("users", f"{found.users} ({found.admins} admins, {found.banned} banned)"),
        ("uploads", items),
        ("stored", size(found.bytes)),
        ("disk free", "no limit known (S3)" if found.disk_free is None else size(found.disk_free)),
        ("database", size(found.database)),
        ("newest upload", newest),
    ):
        click.echo(f"{name + ':':<15}{value}")


COMMANDS = (sweep, check, backup, restore, stats)
