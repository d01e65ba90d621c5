"""What `thorax init` writes into its folder: images.csv, links to the images, study.yaml."""

import json
import os
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from thorax.archives import own
from thorax.errors import ThoraxError
from thorax.study.plan import FEWEST_PATIENTS, Plan
from thorax.study.records import Records

LINKS = "images"
_NOT_TEXT = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")  # words that YAML reads as something else
_FROM_SCRATCH = """\
      weights: none # {weights}
      freeze: 0.0
      batch_norm_momentum: 0.9 # for short trainings from random weights
      learning_rate: 1.0e-3
"""
_FROM_IMAGENET = """\
      weights: imagenet # {weights}
      input_scaling: backbone
      freeze: 0.0
      learning_rate: 3.0e-4
"""
_STUDY = """\
# A study of {count:,} radiographs, made by `thorax init`. Change what you like, then type:
#   snakemake --configfile {file} --cores {cores}
# fingerprint.html shows what was found and why this was planned. docs/how-to/own-radiographs.md is the guide, and
# docs/reference/configuration.md explains every key.{estimate}

datasets:
  {name}:
    archive: own
    root: {root} # has images.csv, and links to the images
    views: {views} # {why_views}
    shards: {shards} # {why_shards}

label_sets:
  {name}:
    dataset: {name}
    views: {views}
    min_patients: {fewest} # {why_classes}
    exclude: {exclude} # not classes
    without_class: keep_labelled # images without a finding are negative for all classes

splits:
  {name}: # whole patients, stratified over all classes
    label_sets: [{name}]
    train: {train} # {why_shares}
    val: {val}
    test: {test}
    seed: 1{keep}

image_sets:
  {name}-{size}: {{dataset: {name}, size: {size}}} # {why_size}

experiments:
  {name}:
    title: {title}
    label_set: {name}
    split: {name}
    image_set: {name}-{size}
    training:
{start}      schedule: cosine
      batch_size: {batch} # {why_batch}
      epochs: {epochs} # {why_epochs}
      patience: {epochs} # all of them, since the learning rate falls until the last; the best epoch is kept
      max_pos_weight: 5.0
      augmentation: # small changes, and no mirror images: the heart is on the left
        {{rotation: 5, width_shift: 0.03, height_shift: 0.03, shear: 0, zoom: 0.05, horizontal_flip: false,
         brightness: [0.9, 1.1], channel_shift: 0.02}}
    members: # {why_networks}
{members}
    ensembles:
      CTP: {{rule: ctp, members: [{networks}]}} # the mean of all

run: [{name}]
"""


def name_of(out: Path) -> str:
    """The name of the data set, label set, split and experiment: the folder's, with dashes for what names may not have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", out.resolve().name).strip("-_") or "study"


def as_written(folder: Path) -> str:
    """A folder as a configuration names it: from the folder that one runs in, if it is inside that, else from the root."""
    here = Path.cwd().resolve()
    whole = folder.resolve()
    return whole.relative_to(here).as_posix() if whole.is_relative_to(here) else whole.as_posix()


def study_text(
    plan: Plan, records: Records, nothing_is_found: bool, out: Path, cores: int, estimate: str = "", keep: str = ""
) -> str:
    """The text of study.yaml.

    `nothing_is_found` says whether an image has the label `records.nothing`; `keep` is the name of an earlier split in `out`.
    """
    name, root = name_of(out), as_written(out)
    common = [finding.name for finding in plan.left_out if finding.patients >= FEWEST_PATIENTS]  # but hardly anybody is without
    rare = ", ".join(f"{finding.name} ({finding.patients})" for finding in plan.left_out if finding.name not in common)
    start = (_FROM_IMAGENET if plan.weights == "imagenet" else _FROM_SCRATCH).format(**plan.reasons)
    return _STUDY.format(
        count=len(records.images),
        file=f"{root}/study.yaml",
        cores=cores,
        estimate="".join(f"\n# {line}" for line in textwrap.wrap(estimate, 118)),
        keep=f"\n    keep: {_quoted(f'{root}/{keep}')} # patients who had a part stay in it" if keep else "",
        name=name,
        root=_quoted(root),
        views=_listed(plan.views),
        fewest=FEWEST_PATIENTS,
        exclude=_listed([*([records.nothing] if nothing_is_found else []), *common]),
        shards=plan.shards,
        train=plan.shares[0],
        val=plan.shares[1],
        test=plan.shares[2],
        size=plan.size,
        title=_quoted("My own radiographs" if name == "study" else name),
        start=start,
        batch=plan.batch,
        epochs=plan.epochs,
        members="\n".join(f"      {network}: {{backbone: {network}}}" for network in plan.networks),
        networks=", ".join(plan.networks),
        why_classes=f"left out, with their patients: {rare}" if rare else "no finding has fewer patients",
        **{f"why_{key}": plan.reasons[key] for key in ("shards", "views", "shares", "size", "batch", "epochs", "networks")},
    )


def _quoted(text: str) -> str:
    """A text as YAML: as it is if that is safe, else between quotes."""
    plain = re.fullmatch(r"[A-Za-z_./][\w./-]*", text) and text.lower() not in _NOT_TEXT
    return text if plain else json.dumps(text, ensure_ascii=False)


def _listed(texts: list[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def table_text(
    images: pd.DataFrame, names: Mapping[str, str], patients: Mapping[str, str], studies: Mapping[tuple[str, str], str]
) -> str:
    """The text of images.csv.

    Args:
        images: The images of `Records`.
        names: The name of each image, by its path; its link is under LINKS.
        patients: What stands for each patient.
        studies: What stands for each study, by patient and study.
    """
    known = images["labelled"].astype(bool)
    maybe = [list(dict.fromkeys([*row.uncertain, *row.unasked])) for row in images.itertuples()]
    table = pd.DataFrame(
        {
            "path": [f"{LINKS}/{names[path]}" for path in images["path"]],
            "image_id": images["path"].map(names),
            "patient_id": images["patient"].map(patients),
            "study_id": [studies.get((row.patient, row.study), "") for row in images.itertuples()],
            "view": images["view"],
            "sex": images["sex"].map(lambda sex: sex or ""),
            "age": images["age"].map(lambda age: "" if age is None or age != age else f"{age:g}"),
            "labels": ["|".join(labels) if some else "" for labels, some in zip(images["positive"], known, strict=True)],
            "uncertain": ["|".join(labels) for labels in maybe],
        }
    )
    assert set(table) <= {*own.REQUIRED, *own.OPTIONAL}
    return table.to_csv(index=False, lineterminator="\n")


def link_all(source: Path, out: Path) -> None:
    """Make LINKS in `out` a link to the source."""
    link = out / LINKS
    _clear(link)
    link.symlink_to(_target(source, out), target_is_directory=True)


def link_each(source: Path, out: Path, names: Mapping[str, str]) -> None:
    """Make LINKS in `out` a folder with a link for each image, by path; links that are right stay."""
    folder = out / LINKS
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(exist_ok=True)
    wanted = {name: str(Path(_target(source, folder)) / path) for path, name in names.items()}
    for entry in _links_in(folder):
        if wanted.get(entry.name) != str(entry.readlink()):
            entry.unlink()
    for name, target in wanted.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)


def _clear(link: Path) -> None:
    """Remove links of an earlier run."""
    if link.is_dir() and not link.is_symlink():
        for entry in _links_in(link):
            entry.unlink()
        link.rmdir()
    link.unlink(missing_ok=True)


def _links_in(folder: Path) -> Iterator[Path]:
    """What is in a folder of links; anything else than a link is refused when its turn comes."""
    for entry in folder.iterdir():
        if not entry.is_symlink():
            raise ThoraxError(f"{entry} is not a link of thorax: choose another folder with --out.")
        yield entry


def _target(source: Path, folder: Path) -> str:
    """The source as a link names it: relative if both are in the current folder, so that this can be moved."""
    here, whole = Path.cwd().resolve(), source.resolve()
    if whole.is_relative_to(here) and folder.resolve().is_relative_to(here):
        return os.path.relpath(whole, folder.parent.resolve() / folder.name if folder.name == LINKS else folder.resolve())
    return str(whole)


def link_name(path: str, pseudonym: str) -> str:
    """A name for an image whose path names its patient: the pseudonym, with the ending of the file."""
    suffix = PurePosixPath(path).suffix.lower()
    return pseudonym + (suffix if re.fullmatch(r"\.(dcm|dicom|png|jpe?g|tiff?)", suffix) else "")
