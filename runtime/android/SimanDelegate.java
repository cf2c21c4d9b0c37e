package siman.runtime;

import org.tensorflow.lite.Delegate;

/**
 * Runs the ops of Larq Compute Engine in TensorFlow Lite's or LiteRT's Java interpreter.
 *
 * <p>Interpreters may share one. It is closed after all of them.
 */
public final class SimanDelegate implements Delegate {
  static {
    System.loadLibrary("siman_runtime");
  }

  private long handle = create();

  @Override
  public long getNativeHandle() {
    if (handle == 0) {
      throw new IllegalStateException("SimanDelegate is closed; make another.");
    }
    return handle;
  }

  @Override
  public void close() {
    if (handle != 0) {
      destroy(handle);
      handle = 0;
    }
  }

  private static native long create();

  private static native void destroy(long handle);
}
