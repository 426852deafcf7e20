/* A global that a constructor fills in before main, as C libraries have them. */

static int from_constructor;

__attribute__((constructor)) static void fill_in(void) { from_constructor = 41; }

int initialisers_c_global(void) { return from_constructor; }
