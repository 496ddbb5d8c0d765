"""Tables: reading files, what their columns mean, and the arrays that a model is given."""
