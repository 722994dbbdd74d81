"""What the guard was told: policy files in, frozen core types out; every mistake at once, with its place.

The one package that reads YAML. ``loader`` is the way in; ``schema`` (with ``sources``, ``journeys``, ``interlocks``
and ``channels``) says what a file may hold; ``rules``, ``conditions``, ``signals`` and ``convert`` what it means.
"""
