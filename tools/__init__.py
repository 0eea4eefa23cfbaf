"""Long tests that no release is made without: fuzzing the readers, soaking a run."""
