"""Copies of the container image near the work pools, so that a pull is short and no pool waits for a far registry.

references     what an image is called; a tag is turned into a digest once, and the digest is what is copied
credentials    logins come from a file or a secret, and never travel in parameters
skopeo         the program that speaks to registries
registry_errors what it says when it fails, as errors that say what to do
replicas       who has the image, who is behind and for how long, and bringing it there

source registry --digest--> skopeo copy --> registry of pool A    digest read back, compared
                                        --> registry of pool B    digest read back, compared
"""
