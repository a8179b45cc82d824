/* Status codes and the sentence that explains the last failure.
 *
 * Every public function that can fail returns a noprop_status. The library never prints, exits or aborts.
 * After a failure noprop_last_error() holds one sentence for a person: what was wrong, with which value, and what
 * is allowed. It belongs to the calling thread and stays valid until that thread's next failing call. */
#ifndef NOPROP_STATUS_H
#define NOPROP_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define NOPROP_API
#else
#define NOPROP_API __attribute__((visibility("default")))
#endif

/* X(enumerator, number, name). Numbers never change; retired ones stay. */
#define NOPROP_STATUS_LIST(X)                                       \
  X(NOPROP_OK, 0, "ok")                                             \
  X(NOPROP_INVALID_ARGUMENT, 1, "invalid argument")                 \
  X(NOPROP_INVALID_CONFIG, 2, "invalid configuration")              \
  X(NOPROP_OUT_OF_MEMORY, 3, "out of memory")                       \
  X(NOPROP_FILE_ERROR, 4, "file error")                             \
  X(NOPROP_NO_DEVICE, 5, "no such device")                          \
  X(NOPROP_DEVICE_ERROR, 6, "device error")                         \
  X(NOPROP_COMPILE_ERROR, 7, "kernel compilation failed")           \
  X(NOPROP_UNSUPPORTED, 8, "not supported")                         \
  X(NOPROP_NOT_FINITE, 9, "a loss became infinite or not a number") \
  X(NOPROP_STOPPED, 10, "stopped by the caller")

typedef enum {
#define NOPROP_STATUS_ENUM(name, number, text) name = number,
  NOPROP_STATUS_LIST(NOPROP_STATUS_ENUM)
#undef NOPROP_STATUS_ENUM
} noprop_status;

/* The short name of a status ("file error"); never NULL. */
NOPROP_API const char *noprop_status_name(noprop_status status);

/* The sentence about this thread's last failure; "" if there was none. */
NOPROP_API const char *noprop_last_error(void);

/* Version of the library that is running: "major.minor.patch". */
NOPROP_API const char *noprop_version(void);

#ifdef __cplusplus
}
#endif
#endif
