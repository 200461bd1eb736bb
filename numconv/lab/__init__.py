"""The oracle, named cases, benchmark shapes and races; kernels of one's own, checked, raced and explained."""

from numconv.lab.checking import check as check
from numconv.lab.user_kernel import UserKernel as UserKernel
from numconv.lab.user_kernel import kernel as kernel
