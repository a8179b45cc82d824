/* Nothing: the programs of the tests share the precompiled header that this file is compiled with. */
