"""How the names of images end; apart, so that what plans a run imports no decoder."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
