"""The example of a process pool in Python's documentation, as a program; without a pool if told so."""

import concurrent.futures
import math
import sys

PRIMES = [
    112272535095293,
    112582705942171,
    112272535095293,
    115280095190773,
    115797848077099,
    1099726899285419,
]


def is_prime(n):
    if n < 2:
        return False
    if n == 2:
        return True
    if n % 2 == 0:
        return False

    sqrt_n = int(math.floor(math.sqrt(n)))
    for i in range(3, sqrt_n + 1, 2):
        if n % i == 0:
            return False
    return True


def main():
    if sys.argv[1] == "Python sequential":
        found = list(map(is_prime, PRIMES))
    else:
        with concurrent.futures.ProcessPoolExecutor() as executor:
            found = list(executor.map(is_prime, PRIMES))
    assert found == [True, True, True, True, True, False]


if __name__ == "__main__":
    main()
