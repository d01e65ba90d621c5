import os

from snakemake.exceptions import WorkflowError

from thorax import strict_yaml
from thorax.errors import ThoraxError


def refuse_faulty_files(paths):
    """Read configuration files strictly: Snakemake takes the last of two equal keys, and names no file or line."""
    for path in paths:
        try:
            strict_yaml.read(os.path.relpath(path))
        except ThoraxError as error:
            raise WorkflowError(str(error))


if workflow.is_main_process:
    refuse_faulty_files([*filter(os.path.exists, ["config.yaml"]), *workflow.configfiles])
