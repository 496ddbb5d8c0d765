"""Recording a profile of some steps and summarising where the time went (optional)."""
