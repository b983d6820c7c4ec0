"""Builds the container images: ``make images``, ``make images-party-cpu``.

With a Docker engine, or else with buildah, the Dockerfiles of ``images/`` are built as anybody would. Where there is
neither, the images are written here: a Debian base made on the spot, the packages that the locks name, and this
project's wheel, as the layers of a docker archive. What an image says about itself (user, environment, entry point,
labels) is read from the same Dockerfile either way. It never pushes anything, and never asks for a package that no lock
names.
"""
