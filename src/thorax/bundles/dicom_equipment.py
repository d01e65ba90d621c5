"""What DICOM files say of their maker: the program, the model, and that both are for research only."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from thorax import __version__
from thorax.bundles.bundle import Bundle
from thorax.bundles.contents import Contents
from thorax.errors import ThoraxError

MAKER = "thorax"
RESEARCH = "RESEARCH USE ONLY - NOT A MEDICAL DEVICE"
LONGEST = 64  # characters of the elements (LO) that have these texts


@dataclass(frozen=True)
class Equipment:
    """The program with one bundle."""

    bundle: Bundle

    @property
    def contents(self) -> Contents:
        """What the model is."""
        return self.bundle.contents

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bundle's file."""
        try:
            with self.bundle.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            problem = f"{self.bundle.path} cannot be read ({error.strerror})"
            raise ThoraxError(f"{problem}: check that the bundle is still there.") from error

    @property
    def model(self) -> str:
        """The model's name, as an attribute has it."""
        return text(f"{self.contents.model} of {self.contents.experiment}")[:LONGEST]

    @property
    def sentence(self) -> str:
        """Which model it is."""
        return f"By {self.model}, thorax {__version__}, bundle with SHA-256 {self.digest}. {RESEARCH}."

    @property
    def attributes(self) -> dict[str, Any]:
        """Of the General Equipment module, as arguments of highdicom."""
        return {
            "manufacturer": MAKER,
            "manufacturer_model_name": self.model,
            "software_versions": f"{MAKER} {__version__}",
            "device_serial_number": self.digest,
        }


def text(value: str) -> str:
    """Text as DICOM allows it: backslashes part values, and control characters are not allowed."""
    return "".join(letter for letter in value.replace("\\", "/") if letter.isprintable())
