/* Minibatch optimal transport: launches of kernels/coupling.cu ahead of the steps that need its pairs.
 *
 * The pairs depend on the rows, the seed and the step, not on the weights. One launch therefore solves the assignments
 * of many coming steps, a block each; it stands between the graphs of steps on the same stream, without a wait of the
 * host. The pairs lie in a ring of twice as many steps, so that a launch never overwrites what a step still reads. */
#include "engine/model.h"
#include "engine/program_plan.h"
#include "engine/status.h"
#include "kernels/coupling_arguments.h"

enum { STEPS_MOST = 64, RING = 2 * STEPS_MOST };
_Static_assert(RING >= STEPS_MOST + MODEL_GRAPH_STEPS, "a launch must not overwrite what a graph of steps reads");
/* Device memory for the cost matrices of one launch: 256 KiB for every 256 rows of a step and draw. */
static const size_t COST_BYTES = (size_t)64 << 20;

static size_t problem_bytes(void) { return (size_t)COUPLING_ROWS * COUPLING_ROWS * sizeof(int); }

static unsigned groups_of(unsigned batch) { return (batch + COUPLING_ROWS - 1) / COUPLING_ROWS; }

static noprop_status launch(noprop_model *model, const train_arguments *train, const struct pairing *coupling,
                            unsigned ring, unsigned first_step, unsigned steps) {
  const unsigned draws = (unsigned)model->settings.loss.draws;
  const couple_arguments arguments = {
      .train = *train,
      .pairs = DEVICE_POINTER(unsigned, coupling->pairs),
      .costs = DEVICE_POINTER(int, coupling->costs),
      .first_step = first_step,
      .draws = draws,
      .groups = coupling->groups,
      .ring = ring,
      .target_kind = plan_row_kind(model->shape.target_type, model->shape.target_is_label),
      .width = model->shape.target_width,
      .off_value = (float)model->settings.latent.off_value,
  };
  return device_launch(model->device, &model->couple, steps * draws * coupling->groups, COUPLING_THREADS, 0, &arguments,
                       sizeof arguments);
}

static noprop_status allocate(noprop_model *model, unsigned batch, unsigned ring, struct pairing *coupling) {
  const size_t draws = (size_t)model->settings.loss.draws;
  noprop_status status =
      pool_alloc(model->pool, ring * draws * batch * sizeof(unsigned), "pairs of noise and data", &coupling->pairs);
  if (status == NOPROP_OK)
    status = pool_alloc(model->pool, coupling->steps * draws * coupling->groups * problem_bytes(),
                        "the costs of pairing noise and data", &coupling->costs);
  return status;
}

noprop_status coupling_bind(noprop_model *model) {
  struct model_binding *binding = &model->binding;
  struct pairing *coupling = &binding->coupling;
  if (model->settings.coupling != COUPLING_OT) return NOPROP_OK;
  coupling->groups = groups_of(binding->batch);
  const size_t step_bytes = problem_bytes() * (size_t)model->settings.loss.draws * coupling->groups;
  const size_t steps = COST_BYTES / step_bytes;
  coupling->steps = steps > STEPS_MOST ? STEPS_MOST : steps < 1 ? 1 : (unsigned)steps;
  const noprop_status status = allocate(model, binding->batch, RING, coupling);
  binding->train.pairs = DEVICE_POINTER(const unsigned, coupling->pairs);
  binding->train.pair_ring = RING;
  return status;
}

noprop_status coupling_ahead(noprop_model *model, const train_arguments *train, long steps, long present) {
  struct pairing *coupling = &model->binding.coupling;
  if (model->settings.coupling != COUPLING_OT) return NOPROP_OK;
  if (coupling->solved < model->submitted) coupling->solved = model->submitted;
  while (coupling->solved < model->submitted + (uint64_t)steps) {
    uint64_t count = model->submitted + (uint64_t)present - coupling->solved;
    if (count > coupling->steps) count = coupling->steps;
    const noprop_status status =
        launch(model, train, coupling, train->pair_ring, (unsigned)coupling->solved, (unsigned)count);
    if (status != NOPROP_OK) return status;
    coupling->solved += count;
  }
  return NOPROP_OK;
}

noprop_status coupling_request_memory(noprop_model *model, train_arguments *train, struct pairing *coupling) {
  *coupling = (struct pairing){.steps = 1, .groups = groups_of(train->batch)};
  if (model->settings.coupling != COUPLING_OT || train->given_noise) return NOPROP_OK;
  const noprop_status status = allocate(model, train->batch, 1, coupling);
  train->pairs = DEVICE_POINTER(const unsigned, coupling->pairs);
  train->pair_ring = 1;
  return status;
}

noprop_status coupling_request(noprop_model *model, const train_arguments *train, const struct pairing *coupling) {
  return train->pairs ? launch(model, train, coupling, 1, 0, 1) : NOPROP_OK;
}
