"""How people name the splits: in a column, as folders, as files."""

SPLIT_OF = {
    **dict.fromkeys(("train", "training", "fit"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout", "held-out", "eval"), "test"),
}
"""A name, in small letters -> the split."""
