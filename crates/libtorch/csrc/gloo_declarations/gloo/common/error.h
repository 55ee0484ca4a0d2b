// c10d's header of its Gloo group includes this and takes nothing from it.
#pragma once
