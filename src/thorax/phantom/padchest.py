"""The phantom in PadChest's form: the metadata table with its 36 columns and the kinds of dirt that the real one has."""

import datetime

import numpy as np
import pandas as pd

from thorax import config
from thorax.archives.padchest import METADATA
from thorax.phantom.findings import Finding
from thorax.phantom.patients import NORMAL, Picture, plan
from thorax.phantom.render import bits_of, drawn_shape
from thorax.resources import resource

UNLABELLED = 0.003  # share of the images whose labels are the text "nan"; the real table has a few of them
TABLES = (METADATA[0],)
DIRT = 20  # stream of random numbers
FIRST_DAY = datetime.date(2009, 1, 1)

# Unified Medical Language System codes as PadChest's term tree gives them; some terms have none.
_TERMS = pd.read_csv(resource("padchest_terms.csv"), keep_default_na=False)
LABEL_CODES = {row.term: row.cui for row in _TERMS.itertuples() if row.cui and row.term != NORMAL}
PLACE_CODES = dict(pd.read_csv(resource("padchest_places.csv")).itertuples(index=False, name=None))
PLACES = {
    "cardiomegaly": "loc cardiac", "aortic elongation": "loc aortic", "interstitial pattern": "loc basal bilateral",
    "hiatal hernia": "loc retrocardiac", "pleural effusion": "loc pleural", "laminar atelectasis": "loc basal",
    "costophrenic angle blunting": "loc costophrenic angle", "hemidiaphragm elevation": "loc diaphragm", "pacemaker": "loc pectoral",
}  # fmt: skip
LOBAR = ("nodule", "calcified granuloma", "alveolar pattern")
VIEW_NAMES = {"PA": "POSTEROANTERIOR", "L": "LATERAL", "AP": "ANTEROPOSTERIOR", "AP_horizontal": "ANTEROPOSTERIOR"}


def tables(settings: config.Phantom, boxes: pd.DataFrame | None) -> dict[str, str]:
    """The metadata file."""
    return {TABLES[0]: table(settings).to_csv(lineterminator="\n")}


def table(settings: config.Phantom) -> pd.DataFrame:
    """All rows in the order of the table, every value as text; the index is the real table's unnamed first column."""
    pictures = plan(settings)
    rng = np.random.default_rng([settings.seed, DIRT])
    unlabelled = set(rng.choice(len(pictures), round(UNLABELLED * len(pictures)), replace=False).tolist())
    order = rng.permutation(len(pictures)).tolist()
    return pd.DataFrame([_row(settings, pictures[index], index in unlabelled) for index in order])


def _row(settings: config.Phantom, picture: Picture, unlabelled: bool) -> dict[str, str]:
    rng = np.random.default_rng([settings.seed, DIRT, picture.patient, picture.study])
    day = FIRST_DAY + datetime.timedelta(days=picture.days)
    by_hand = rng.uniform() < 0.25
    text = _label_text(picture, by_hand, rng)
    if unlabelled:
        text = dict.fromkeys(text, "nan") | {"labelCUIS": "", "LocalizationsCUIS": ""}
    report = "" if rng.uniform() < 0.5 else ", ".join(picture.labels()) + "."
    birth = f"{day.year - int(picture.age + (picture.days % 365) / 365)}.0"
    no_birth = np.random.default_rng([settings.seed, DIRT, picture.patient]).uniform() < 0.03
    return {
        "ImageID": picture.image_id,
        "ImageDir": picture.folder,
        "StudyDate_DICOM": day.strftime("%Y%m%d"),
        "StudyID": picture.study_id,
        "PatientID": picture.patient_id,
        "PatientBirth": "" if no_birth else birth,
        "PatientSex_DICOM": "F" if picture.female else "M",
        "ViewPosition_DICOM": "nan" if rng.uniform() < 0.4 else VIEW_NAMES[picture.view],
        "Projection": picture.view,
        "MethodProjection": "Manual review of DICOM fields",
        "Pediatric": "No",
        **_device(bits_of(settings, picture), drawn_shape(settings, picture), rng),
        "ReportID": str(4_000_000 + int(rng.integers(1_500_000))),
        "Report": report,
        "MethodLabel": "Physician" if by_hand else "RNN_model",
        **text,
    }


def _device(bits: int, shape: tuple[int, int], rng: np.random.Generator) -> dict[str, str]:
    """What the reader wrote into the DICOM header."""
    philips = bits == 10 or rng.uniform() < 0.45
    centre = ("5.115000e+02", "1.023000e+03") if bits == 10 else ("2047.0", "4095.0")
    exposure = int(rng.choice([2, 3, 4, 5, 10, 12]))
    return {
        "Modality_DICOM": "CR",
        "Manufacturer_DICOM": "PhilipsMedicalSystems" if philips else "ImagingDynamicsCompanyLtd",
        "PhotometricInterpretation_DICOM": "MONOCHROME2",
        "PixelRepresentation_DICOM": "0",
        "PixelAspectRatio_DICOM": "['1', '1']" if philips and bits == 12 else "None",
        "SpatialResolution_DICOM": "0.2" if philips and bits == 12 else "None",
        "BitsStored_DICOM": str(bits),
        "WindowCenter_DICOM": centre[0] if philips else str(int(rng.integers(1980, 2120))),
        "WindowWidth_DICOM": centre[1] if philips else str(int(rng.integers(2150, 2450))),
        "Rows_DICOM": str(shape[0]),
        "Columns_DICOM": str(shape[1]),
        "XRayTubeCurrent_DICOM": "None" if philips else str(int(rng.choice([250, 320, 400, 500]))),
        "Exposure_DICOM": "None" if philips else str(exposure),
        "ExposureInuAs_DICOM": "None" if philips else str(1000 * exposure),
        "ExposureTime": "None" if philips else str(int(rng.choice([5, 10, 25]))),
        "RelativeXRayExposure_DICOM": "None" if philips else f"{rng.normal(-1.1, 0.4):.2f}",
    }


def places(finding: Finding) -> list[str]:
    """PadChest's words for where a finding is."""
    side = {-1: "right", 0: "bilateral", 1: "left"}[finding.side]
    if finding.label in LOBAR and finding.side:
        return [f"loc {side} {'upper' if finding.level < 0.5 else 'lower'} lobe"]
    words = [PLACES[finding.label]] if finding.label in PLACES else []
    sided = finding.label in ("pleural effusion", "costophrenic angle blunting", *LOBAR) or (words and finding.side)
    return [*words, f"loc {side}"] if sided else words


def _label_text(picture: Picture, by_hand: bool, rng: np.random.Generator) -> dict[str, str]:
    """The five label columns. A network's labels may begin with a space or be empty, a physician's never."""
    sentences = [[finding.label, *places(finding)] for finding in picture.findings]
    sentences += [[remark] for remark in picture.remarks]
    sentences = [sentences[index] for index in rng.permutation(len(sentences))] or [[NORMAL]]
    labels = [sentence[0] for sentence in sentences]
    words = list(dict.fromkeys(word for sentence in sentences for word in sentence[1:]))
    if rng.uniform() < 0.3:  # a sentence about something normal
        sentences.append([NORMAL])
    by_sentence = str(sentences)
    spaced, empty = rng.uniform(size=2)
    if not by_hand:
        if spaced < 0.4:
            labels = [labels[0], *(" " + label for label in labels[1:])]
        if empty < 0.025:
            labels.insert(int(rng.integers(len(labels) + 1)), "")
        by_sentence = str([*labels, *words])
    return {
        "Labels": str(labels),
        "Localizations": str(words),
        "LabelsLocalizationsBySentence": by_sentence,
        "labelCUIS": _codes(labels, LABEL_CODES),
        "LocalizationsCUIS": _codes(words, PLACE_CODES),
    }


def _codes(terms: list[str], codes: dict[str, str]) -> str:
    """Codes as the real table writes them: quoted, separated by spaces, in brackets."""
    found = [codes[term.strip()] for term in terms if term.strip() in codes]
    return "[" + " ".join(f"'{code}'" for code in found) + "]"
