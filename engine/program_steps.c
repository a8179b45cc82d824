/* Code generation around a training step: a kernel of its own, or a function that the persistent kernel calls for every
 * step (kernels/persistent.cuh). */
#include "engine/options.h"
#include "engine/program_plan.h"

enum { PERSISTENT_STATIC_BYTES = 256 /* of shared memory, for the update's scalars and sums */ };

void plan_emit_step_forms(struct plan *plan) {
  if (plan->tile.rows != 0 && (plan->tile.rows != TILE_ROWS || plan->tile.outputs != TILE_OUTPUTS))
    plan_emit(plan, "#define TILE_FORM_ROWS %u\n#define TILE_FORM_OUTPUTS %u\n", plan->tile.rows, plan->tile.outputs);
  if (!plan->steps) return;
  plan_emit(plan, "#define TILE_PERSISTENT\n");
#define ENUMERATOR(enumerator, name, ...) plan_emit(plan, "%s, ", #enumerator);
  plan_emit(plan, "enum { ");
  OPTIMIZER_LIST(ENUMERATOR)
  plan_emit(plan, "};\nenum { ");
  RATE_SCHEDULE_LIST(ENUMERATOR)
  plan_emit(plan, "};\n");
#undef ENUMERATOR
}

void plan_emit_step_head(struct plan *plan) {
  if (plan->steps)
    plan_emit(plan,
              "#include \"persistent.cuh\"\n\n"
              "static __device__ __forceinline__ void train_step(const train_arguments &args) {\n");
  else
    plan_emit(plan,
              "extern \"C\" __global__ void __launch_bounds__(TILE_THREADS, 1) %s(const train_arguments args) {\n",
              plan->backward ? "train" : "loss");
}

void plan_emit_step_end(struct plan *plan) {
  if (!plan->steps) return;
  plan_emit(plan,
            "\nextern \"C\" __global__ void __launch_bounds__(TILE_THREADS, 1) train_steps(const persistent_arguments "
            "args) {\n#pragma unroll 1\n  for (unsigned i = 0; i < args.steps; ++i) {\n"
            "    train_step(args.train);\n    grid_barrier(args.barrier);\n"
            "    update_phase<%s, %s>(args);\n    grid_barrier(args.barrier);\n  }\n}\n",
            plan->settings->optimizer.clip > 0 ? "true" : "false",
            plan->network->decayed_floats < plan->network->padded_floats ? "true" : "false");
}

noprop_status program_train_steps(const struct network *network, const struct settings *settings,
                                  const noprop_model_shape *shape, size_t shared_limit, const struct tile_form *tile,
                                  struct program *program) {
  const size_t limit = shared_limit - PERSISTENT_STATIC_BYTES;
  return network->operand_form >= 0
             ? program_train_tensor(network, settings, shape, limit, true, tile, program)
             : program_train(network, settings, shape, limit, OBJECTIVE_TRAIN_STEPS, tile, program);
}
