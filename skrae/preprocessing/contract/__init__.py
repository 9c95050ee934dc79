"""What every estimator owes its caller, whatever it fits.

caller    warnings at the caller's line, errors in the library's words, torch's modes as they were
work      work that may end early with what it has, and parts of it that outlive the process
processes several of them that do one piece of work
options   checks of options
twin      an estimator that is the old one until its fit is done
seal      format, versions and checksum, added to what is stored and checked when it is loaded
"""
