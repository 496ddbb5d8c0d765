"""Short trainings that help to choose: a learning rate, a batch size. Nothing is written, and no run is changed."""
