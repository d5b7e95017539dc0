"""The foundation of every room: errors, files, hashes, paths, params, seeds, processes, TensorFlow set-up, terminal."""
