"""The wire form of values: an own .proto file, the module protoc makes of it, and the way in and out.

`decode.py` turns protobuf into values, `encode.py` values into protobuf. The *_pb2 module is
made when the package is built (hatch_build.py) and never edited.
"""
