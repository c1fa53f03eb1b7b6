"""tfmeta: few-shot learning, meta-learning and transfer learning for Keras on TensorFlow."""
