/* The delegate that runs the ops of Larq Compute Engine in TensorFlow Lite or LiteRT, for C and C++.
 *
 *     struct TfLiteDelegate* delegate = tflite_plugin_create_delegate(NULL, NULL, 0, NULL);
 *     if (delegate == NULL) fputs(siman_last_error(), stderr);
 *     TfLiteInterpreterOptionsAddDelegate(options, delegate);  // before the interpreter is made
 *     ...
 *     TfLiteInterpreterDelete(interpreter);
 *     tflite_plugin_destroy_delegate(delegate);  // after all interpreters that it was given to
 *
 * The runtime's own TfLiteExternalDelegateCreate loads the library by its path instead. Several
 * interpreters, also in several threads, may share a delegate.
 */
#ifndef SIMAN_RUNTIME_H_
#define SIMAN_RUNTIME_H_

#include <stddef.h>

#define SIMAN_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

struct TfLiteDelegate; /* the runtime's; not of TensorFlow Lite in Google Play services */

/* Null if it cannot be made; why is then given to `report_error`, which may be null. There are no
 * options: `count` is 0, and `keys` and `values` may be null. The number of threads is the
 * interpreter's. */
SIMAN_EXPORT struct TfLiteDelegate* tflite_plugin_create_delegate(
    const char* const* keys, const char* const* values, size_t count,
    void (*report_error)(const char* message));

SIMAN_EXPORT void tflite_plugin_destroy_delegate(struct TfLiteDelegate* delegate);

/* Of the delegate's last error on this thread, which the runtime reports as well; never null. */
SIMAN_EXPORT const char* siman_last_error(void);

/* The instruction set in use: "avx512", "avx512bw", "avx2", "neondot", "neon" or "portable"; null
 * if the environment variable SIMAN_KERNEL names one that does not run here. */
SIMAN_EXPORT const char* siman_kernel_name(void);

#ifdef __cplusplus
}
#endif

#endif
