"""Reports as single files of HTML, and model cards."""
