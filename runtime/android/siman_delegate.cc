// What SimanDelegate.java calls.
#include <jni.h>

#include "siman_runtime.h"

extern "C" JNIEXPORT jlong JNICALL Java_siman_runtime_SimanDelegate_create(JNIEnv* env, jclass) {
  TfLiteDelegate* delegate = tflite_plugin_create_delegate(nullptr, nullptr, 0, nullptr);
  if (delegate == nullptr) {
    env->ThrowNew(env->FindClass("java/lang/IllegalStateException"), siman_last_error());
  }
  return reinterpret_cast<jlong>(delegate);
}

extern "C" JNIEXPORT void JNICALL Java_siman_runtime_SimanDelegate_destroy(JNIEnv*, jclass,
                                                                           jlong delegate) {
  tflite_plugin_destroy_delegate(reinterpret_cast<TfLiteDelegate*>(delegate));
}
