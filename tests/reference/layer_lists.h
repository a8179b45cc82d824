/* Lists of layers that say what networks by name are, with network.hidden [9, 7] and a condition; for bilinear
 * [9, 9]. */
#ifndef TESTS_REFERENCE_LAYER_LISTS_H
#define TESTS_REFERENCE_LAYER_LISTS_H

namespace reference {

constexpr char kMlpLayers[] =
    "[{name: x.0, type: dense, from: x, width: 9, activation: swish},"
    " {name: x.1, type: dense, width: 7, activation: swish},"
    " {name: squash, type: dense, from: [z, x.1, t], width: 9, activation: swish},"
    " {name: hidden.1, type: dense, width: 7, activation: swish},"
    " {name: output, type: dense}]";

constexpr char kResnetLayers[] =
    "[{name: x.0, type: dense, from: x, width: 9, activation: swish},"
    " {name: x.1, type: dense, width: 7, activation: swish},"
    " {name: stem, type: dense, from: [z, x.1, t], width: 9},"
    " {name: u, type: activation, activation: swish},"
    " {name: block.1, type: dense, from: [u, x.1, t], width: 7, activation: swish},"
    " {name: block.1.out, type: dense, width: 9},"
    " {name: stream, type: add, from: stem},"
    " {type: activation, activation: swish},"
    " {name: output, type: dense}]";

constexpr char kBilinearLayers[] =
    "[{name: x.0, type: dense, from: x, width: 9, activation: swish},"
    " {name: x.1, type: dense, width: 9, activation: swish},"
    " {name: squash, type: dense, from: [z, x.1, t], width: 9, activation: swish},"
    " {name: bilinear.z, type: dense, from: z, width: 9},"
    " {name: bilinear.c, type: dense, from: squash, width: 9},"
    " {type: multiply, from: bilinear.z},"
    " {type: activation, activation: swish},"
    " {name: output, type: dense}]";

}  // namespace reference

#endif
