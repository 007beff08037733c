"""What can keep a vendor from being asked. The texts are for people; `aistudio.errors` maps the classes to HTTP."""


class VendorsBusy(Exception):
    """Too many vendors are being asked at this moment."""
