"""Protobuf messages of the podresources API.

podresources.proto has the fields that podnuma reads; podresources_pb2 is generated from it by the build.
"""
