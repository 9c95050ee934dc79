"""What makes a fitted estimator outlive its process, stored by pickle, joblib or skops.

seal       format, versions and checksum, added to what is stored and checked when it is loaded
soundness  whether a fitted density is one that a fit may give
"""
