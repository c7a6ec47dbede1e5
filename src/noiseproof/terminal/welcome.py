"""What `noiseproof` says when it is called alone: what one can do, with an example each."""

WELCOME = """\
noiseproof: learned optimizers that train image classifiers to withstand corruptions.

Use a shipped optimizer: train a classifier, test it on clean and corrupted images
    noiseproof train digits --optimizer gaussian-digits-mlp --out model.safetensors
Judge it fairly: against hand-designed optimizers that are tuned on the same data
    noiseproof evaluate gaussian-digits-mlp --data own.npz --out runs/own
Meta-train your own: from nothing to a report, on images that need no download
    noiseproof run gaussian-digits-mlp --out runs/digits --open
Corrupt your test images: in the layout of CIFAR-10-C
    noiseproof corrupt digits --out corrupted --corruptions fog,gaussian_noise

noiseproof list          shows all names: presets, data sets, rivals, shipped optimizers
noiseproof settings      shows what --set can change
noiseproof --help        shows all commands; `noiseproof COMMAND --help` all their options
"""
