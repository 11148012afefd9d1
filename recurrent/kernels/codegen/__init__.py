"""Code generation with llvmlite: Numba intrinsics that write the machine code of the inner loops.

From the bottom up: `target` describes what is compiled for; `vector` writes vector instructions;
`tile` the register tiles of which every product is made; `copy` and `passes` loops over flat
arrays; `lower` turns expressions into vector code; `gates` writes a cell's large products; `step`
one time step of a cell, by `staged` if its units interact within the step; `barrier` and
`denormals` are instructions that neither NumPy nor Numba offers. No other package imports llvmlite.
"""
