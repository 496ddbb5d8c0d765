"""Several runs that train in one program, each as a lane of its arrays."""
