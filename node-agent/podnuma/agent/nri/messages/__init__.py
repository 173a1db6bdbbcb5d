"""The wire form of values: own .proto files, the modules protoc makes of them, and the way in and out.

`decode.py` turns protobuf into values, `encode.py` values into protobuf. The *_pb2 modules
are made when the package is built (hatch_build.py) and never edited.
"""
