"""`thorax init`: from a folder of radiographs and a table to a study that Snakemake runs."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import pandas as pd
import yaml

from thorax.archives import own
from thorax.config import Config, parse
from thorax.errors import ThoraxError
from thorax.storage import store
from thorax.study import again, columns, files, fingerprint, folder, keys, plan, private, records, tables
from thorax.study.columns import Recognised, Role
from thorax.study.estimate import Estimate, Planned, estimate
from thorax.study.fingerprint import Fingerprint
from thorax.study.folder import Found, Header
from thorax.study.plan import Machine, Plan
from thorax.study.records import Records
from thorax.study.tables import Table

TABLE, STUDY, PAGE = own.METADATA[0], "study.yaml", "fingerprint.html"
Ask = Callable[[str, Sequence[str]], str | None]  # a question and its choices; None where nobody answers


@dataclass(frozen=True)
class Looked:
    """What is in the folder, before anything is decided."""

    found: Found
    screened: pd.DataFrame
    headers: dict[str, Header]

    @property
    def usable(self) -> list[str]:
        """The paths of images that can be read."""
        return self.screened.loc[self.screened["ok"].astype(bool), "image_id"].tolist()


def make_study(
    source: Path,
    out: Path = Path("study"),
    table: Path | None = None,
    sheet: str | None = None,
    image_column: str | None = None,
    patient_column: str | None = None,
    view_column: str | None = None,
    findings: Sequence[str] = (),
    keep_ids: bool = False,
    key: Path | None = None,
    threads: int | None = None,
) -> str:
    """Write images.csv, study.yaml and fingerprint.html for the radiographs in `source`, and say what was found.

    Args:
        source: Folder of DICOM, PNG, JPEG or TIFF files, which may have the table in it.
        out: Folder to write to.
        table: CSV file or Excel workbook. Without it, the one in `source` that names its images is used, if there is one.
        sheet: Sheet of the workbook.
        image_column, patient_column, view_column: Columns of the table. Without them, they are recognised.
        findings: Columns with one finding each, or with lists. Without them, they are recognised.
        keep_ids: Whether patients keep their identifiers; otherwise they get pseudonyms.
        key: File of the pseudonyms' key; by default in `source`.
        threads: Threads that read images; by default as many as there are cores.

    Raises:
        ThoraxError: Something cannot be understood or read. Without findings to learn, images.csv and the page are written.
    """
    again.refuse_taken(out)
    if out.resolve() in (source.resolve(), *source.resolve().parents):
        raise ThoraxError(f"{out} has the radiographs in it: choose another folder with --out.")
    machine = Machine.here()
    found = folder.look(source, [out])
    screened, headers = folder.screen(found, threads or machine.cores)
    looked = Looked(found, screened, headers)
    if not looked.usable:
        reason = screened["reason"].value_counts().index[0]
        raise ThoraxError(f"{source}: none of its {len(screened):,} images can be read, most often because they are {reason}.")
    named = {"image": image_column, "patient": patient_column, "view": view_column}
    given: dict[Role, Sequence[str]] = {role: [name] for role, name in named.items() if name}  # type: ignore[misc]
    given |= {"finding": list(findings)} if findings else {}
    ask = _at_terminal if sys.stdin.isatty() and sys.stderr.isatty() else lambda question, choices: None
    read = _choose_table(looked, table, sheet, given, ask)
    roles = None if read is None else _recognise(read, looked, given, ask)
    known = records.join(found, looked.usable, headers, read, roles)
    weights = {
        network: Path(f"resources/weights/{network}.h5").is_file() for network in (*plan.FOR_FEW, *plan.ON_CPU, *plan.ON_GPU)
    }
    planned = plan.make(known, machine, weights)
    return _write(looked, read, roles, known, planned, machine, out, keep_ids, key or source / keys.FILE)


def _at_terminal(question: str, choices: Sequence[str]) -> str | None:
    """Ask a person, who answers with a number or a name; an empty answer is None."""
    for number, choice in enumerate(choices, 1):
        print(f"  {number:>3}  {choice}", file=sys.stderr)
    while True:
        print(f"{question} (number, or Enter for none): ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
        if not answer:
            return None
        if answer in choices:
            return answer
        if answer.isdecimal() and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1]


def _choose_table(looked: Looked, table: Path | None, sheet: str | None, given: dict, ask: Ask) -> Table | None:
    """The table that is named, or the one in the folder whose rows name its images; no text without columns that do."""
    if table is not None:
        return _read(table, sheet, ask)
    alone = len(looked.found.tables) == 1
    if alone and (given or looked.found.tables[0].suffix.lower() != ".txt"):
        return _read(looked.found.tables[0], sheet, ask)
    fitting = {}
    for path in looked.found.tables:
        try:
            read = tables.read(path, sheet)
            roles = columns.recognise(read.frame, looked.found.matched_by(looked.headers), given)
            if roles.link or roles.tied:
                fitting[str(path)] = read
        except ThoraxError:  # it is another table, and a wrong --table says why
            continue
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if not looked.found.tables or alone:
        return None
    names = list(fitting) or list(map(str, looked.found.tables))
    if chosen := ask("Which table says what was found on the images?", names):
        return _read(Path(chosen), sheet, ask)
    raise ThoraxError(f"{looked.found.root} has several tables ({', '.join(names)}): choose one with --table.")


def _read(path: Path, sheet: str | None, ask: Ask) -> Table:
    if sheet is None and len(sheets := tables.sheets(path)) > 1:
        sheet = ask(f"Which sheet of {path.name} has the findings?", sheets)
    return tables.read(path, sheet)


def _recognise(table: Table, looked: Looked, given: dict[Role, Sequence[str]], ask: Ask) -> Recognised:
    """What the columns hold; a person is asked for what is not clear."""
    index = looked.found.matched_by(looked.headers)
    roles = columns.recognise(table.frame, index, given)
    if not roles.link and (chosen := ask("Which column names the image of each row?", roles.tied or list(table.frame))):
        given = {**given, "image": [chosen]}
        roles = columns.recognise(table.frame, index, given)
    from_headers = any(header.patient for header in looked.headers.values())
    if roles.link and not roles.one("patient") and not from_headers:
        others = [column.name for column in roles.columns if column.role in ("other", "study", "name")]
        if chosen := ask("Which column says who the patient is?", others):
            roles = columns.recognise(table.frame, index, {**given, "patient": [chosen]})
    return roles


def _write(
    looked: Looked,
    table: Table | None,
    roles: Recognised | None,
    known: Records,
    planned: Plan,
    machine: Machine,
    out: Path,
    keep_ids: bool,
    key_file: Path,
) -> str:
    """Write everything, or nothing; return what is said."""
    source = looked.found.root
    if keep_ids:
        _refuse_names(looked, known)
    naming = _private_paths(looked, table, roles, known, keep_ids)
    key = keys.read_or_make(key_file) if naming or not keep_ids else b""
    images = known.images
    names = {path: path for path in images["path"]}
    if naming:
        names = {path: files.link_name(path, keys.pseudonym(key, "image", path)) for path in images["path"]}
    plain = {text: columns.key(text) for text in images["patient"].unique()}  # 7 and 007 are one patient
    patients = {text: text if keep_ids else keys.pseudonym(key, "patient", plain[text]) for text in plain}
    pairs = {(row.patient, row.study) for row in images.itertuples() if row.study}
    studies = {pair: pair[1] if keep_ids else keys.pseudonym(key, "study", plain[pair[0]], pair[1]) for pair in pairs}
    text = files.table_text(images, names, patients, studies)
    _check(text, source)
    split = again.split_to_keep(out, text, set(patients.values()))
    nothing_is_found = any(known.nothing in labels for labels in images["positive"])
    hours = _estimate(looked, known, planned, nothing_is_found, out, machine) if planned.learnt else None
    form = "" if table is None else table.form
    bits = {path: header.bits for path, header in looked.headers.items() if header.bits}
    page = fingerprint.page(Fingerprint(looked.screened, bits, known, roles, form, not keep_ids, len(naming)), planned, hours)
    with store.atomic(out / TABLE) as new_table, store.atomic(out / PAGE) as new_page:
        store.write_text(text, new_table)
        store.write_text(page, new_page)
        try:
            files.link_each(source, out, names) if naming else files.link_all(source, out)
        except OSError as error:
            raise ThoraxError(
                f"{out / files.LINKS} cannot be made ({error.strerror}): choose a folder that may have links with --out."
            ) from error
        said = fingerprint.said(hours) if hours else ""
        kept = again.SPLIT if split else ""
        new = files.study_text(planned, known, nothing_is_found, out, machine.cores, said, kept) if planned.learnt else None
        stay = again.keep(split, out) if split else ""
        old = _replace(out / STUDY, new)
    if not planned.learnt:
        raise ThoraxError(" ".join([_nothing_to_learn(out, table, planned), *([old] if old else [])]))
    return "\n".join([*_summary(known, planned, hours, out, machine), *filter(None, [stay, old])])


def _refuse_names(looked: Looked, known: Records) -> None:
    """Refuse to keep identifiers that are names."""
    names = {name for header in looked.headers.values() for name in header.names}
    identifiers = known.images["patient"].unique()
    named = sum(bool(names.intersection(private.name_words(text))) for text in identifiers)
    if named or columns.look_like_names(identifiers):
        raise ThoraxError(
            "the identifiers of patients are names, which are never written: leave out --keep-ids, or name another column."
        )


def _private_paths(looked: Looked, table: Table | None, roles: Recognised | None, known: Records, keep_ids: bool) -> list[str]:
    """The paths with a patient's name or, unless identifiers are kept, an identifier of a patient or study in them."""
    images, headers = known.images, looked.headers
    secrets = {name for header in headers.values() for name in header.names}
    if table is not None and roles is not None:
        for column in roles.of("name"):
            secrets |= {word for text in table.frame[column].unique() for word in private.name_words(text)}
    own: dict[str, list[str]] = {}
    if not keep_ids:
        patients = set(images["patient"])
        secrets |= patients | {
            word for text in patients if columns.look_like_names([text]) for word in private.name_words(text)
        }
        secrets |= set(images["study"])
        secrets |= {text for one in headers.values() for text in (one.patient, one.bare, one.study, one.accession)}
        own = {row.path: [row.patient, headers.get(row.path, Header()).bare] for row in images.itertuples()}
    inside = {path: header.inside for path, header in headers.items()}
    return private.naming_paths(images["path"], secrets, own, inside)


def _check(text: str, source: Path) -> None:
    """Refuse a table that the archive's reader would refuse, before anything is written."""
    with tempfile.TemporaryDirectory() as temporary:
        store.write_text(text, Path(temporary) / TABLE)
        try:
            own.read_catalog(Path(temporary))
        except ThoraxError as error:
            problem = str(error).replace(str(Path(temporary) / TABLE), f"the images.csv that {source} would give")
            raise ThoraxError(problem) from None


def _estimate(looked: Looked, known: Records, planned: Plan, nothing: bool, out: Path, machine: Machine) -> Estimate:
    settings = parse(Config, yaml.safe_load(files.study_text(planned, known, nothing, out, machine.cores)), STUDY)
    usable = looked.screened[looked.screened["image_id"].isin(known.images["path"])]
    megapixels = float((usable["rows"].astype(float) * usable["columns"].astype(float)).mean()) / 1e6
    counts = Planned(settings, len(known.images), planned.images, len(planned.learnt), megapixels)
    return estimate(settings, files.name_of(out), counts, machine.cores)


def _replace(path: Path, text: str | None) -> str:
    """Write study.yaml; one with another text is kept under the first free name, which is said. None is not written."""
    said = ""
    if path.is_file() and (text is None or path.read_text(encoding="utf-8", errors="replace") != text):
        names = (path.with_name(f"{path.stem}.old{end}{path.suffix}") for end in chain([""], (f"-{n}" for n in count(2))))
        kept = next(name for name in names if not name.exists())
        path.replace(kept)
        said = f"The {STUDY} that was there is now {kept}."
    if text is not None:
        store.write_text(text, path)
    return said


def _nothing_to_learn(out: Path, table: Table | None, planned: Plan) -> str:
    written = f"{out / TABLE} and {out / PAGE} were written, but no {STUDY}"
    if table is None:
        advice = (
            "put a table into the folder, or name one with --table: a CSV file or Excel sheet with one row for each image or"
        )
        return f"{written}, because there are no findings: {advice} study, and one column for each finding."
    if not planned.findings:
        return f"{written}, because no column of {table.path} says what was found: name those that do with --findings."
    lacking = "; ".join(f"{finding.name}: {finding.problem.partition(';')[0]}" for finding in planned.left_out[:5])
    return f"{written}, because no finding has enough patients ({lacking}): add images, or join findings into one column."


def _summary(known: Records, planned: Plan, hours: Estimate | None, out: Path, machine: Machine) -> list[str]:
    images = known.images
    patients = images["patient"].nunique()
    lines = [f"{len(images):,} images of {patients:,} patients; {planned.images:,} are labelled and have planned views."]
    lines += [
        f"Left out: {count:,} images that {why}." for key, why in records.LEFT_OUT.items() if (count := known.left_out[key])
    ]
    lines.append("Classes: " + ", ".join(f"{finding.name} ({finding.patients} patients)" for finding in planned.learnt) + ".")
    if planned.left_out:
        lines.append(
            "Too few patients: " + ", ".join(f"{finding.name} ({finding.patients})" for finding in planned.left_out) + "."
        )
    lines.append(
        f"Planned: {', '.join(planned.networks)} at {planned.size} x {planned.size} pixels, {planned.epochs} epochs, "
        f"batches of {planned.batch}."
    )
    if hours is not None:
        lines.append(fingerprint.said(hours))
    written = ", ".join(str(out / name) for name in (TABLE, STUDY, PAGE))
    return [*lines, f"Written: {written}.", "", f"Next: snakemake --configfile {out / STUDY} --cores {machine.cores}"]
