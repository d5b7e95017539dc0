"""Stage `export`: conversion, parity with Keras, the model card."""
