# Turns the plain comments of the public headers into Doxygen's: the first of a file describes the file, those at the start of
# a line describe what follows, those behind a declaration what stands before them. Rules (/* ---- x ---- */) stay.
1s,^/\* ,/** \\file\n * ,
/^ *\/\* ----/b
s,^\( *\)/\* ,\1/** ,
s,\([;\,{}]\)\( *\)/\* ,\1\2/**< ,
