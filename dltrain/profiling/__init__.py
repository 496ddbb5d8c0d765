"""Records a profile of some training steps and summarises where the time went (only with `profile=true`)."""
