"""Ensembles: several trained runs that predict together, by the mean of their probabilities or values.

`choose` picks the runs, `members` opens and compares them, `combine` and `calibrate` are functions of arrays,
`measure` computes the metrics of outputs that are known, `ensemble` is what predicts, and `make` builds one.
"""
