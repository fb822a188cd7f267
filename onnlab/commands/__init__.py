"""The commands of ``onnlab``: a module for each group, which gives a parser its arguments and runs them."""
