"""The 74 COVAREP features of a recording, in NumPy, free of MATLAB."""
