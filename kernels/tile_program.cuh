// All building blocks of a generated kernel.
#pragma once

#include "dense.cuh"
#include "objective.cuh"
#include "rows.cuh"
#include "solver.cuh"
#include "time_embedding.cuh"
