// c10d's header of its Gloo group includes this; all that it takes from it is:
#pragma once
#include <memory>
