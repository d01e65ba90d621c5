"""thorax: from an archive of chest radiographs to a paper's tables, figures and report."""

__version__ = "0.1.0"
