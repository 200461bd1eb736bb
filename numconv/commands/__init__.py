"""The commands of the program ``numconv``, one a module.

A command's docstring is its help: the first line the summary, the rest printed below the options. It offers
``add_arguments(parser)`` and ``run(options)``.
"""
